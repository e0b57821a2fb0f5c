/* fork, exec of this program, exit, wait: N times one after the other. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { CHILD_STATUS = 42 };

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return CHILD_STATUS;
    unsigned rounds = test_argument(argc, argv, 1, 600), wrong = 0;
    double start = test_seconds();
    for (unsigned i = 0; i < rounds; i++) {
        pid_t child = (pid_t)TEST_CALL(fork());
        if (child == 0) {
            execl("/proc/self/exe", argv[0], "child", (char *)NULL);
            _exit(127);
        }
        int status = 0;
        TEST_CALL(waitpid(child, &status, 0));
        wrong += !WIFEXITED(status) || WEXITSTATUS(status) != CHILD_STATUS;
    }
    double seconds = test_seconds() - start;
    test_check("fork-exec.status", 0, wrong);
    printf("fork-exec: %u times, %.1f us each\n", rounds, seconds / rounds * 1e6);
    return test_result();
}
