/* A byte to and fro between two processes over two pipes, N round trips. */
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void answer(int from, int to) {
    unsigned char byte;
    while (read(from, &byte, 1) == 1) {
        byte++;
        if (write(to, &byte, 1) != 1)
            _exit(1);
    }
    _exit(0);
}

int main(int argc, char **argv) {
    unsigned rounds = test_argument(argc, argv, 1, 20000), wrong = 0;
    int there[2], back[2];
    TEST_CALL(pipe(there));
    TEST_CALL(pipe(back));
    pid_t child = (pid_t)TEST_CALL(fork());
    if (child == 0) {
        close(there[1]);
        answer(there[0], back[1]);
    }
    close(there[0]);
    double start = test_seconds();
    for (unsigned i = 0; i < rounds; i++) {
        unsigned char sent = (unsigned char)i, got = 0;
        TEST_CALL(write(there[1], &sent, 1));
        TEST_CALL(read(back[0], &got, 1));
        wrong += got != (unsigned char)(sent + 1);
    }
    double seconds = test_seconds() - start;
    close(there[1]);
    int status = 0;
    TEST_CALL(waitpid(child, &status, 0));
    test_check("ping-pong.bytes", 0, wrong);
    test_check("ping-pong.child", 0, (uint64_t)status);
    printf("ping-pong: %u round trips, %.2f us each\n", rounds, seconds / rounds * 1e6);
    return test_result();
}
