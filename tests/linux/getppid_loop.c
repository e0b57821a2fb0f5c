/* The cheapest system call, N times: the cost of entering and leaving the guest kernel. */
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

int main(int argc, char **argv) {
    unsigned rounds = test_argument(argc, argv, 1, 1000000);
    long parent = syscall(SYS_getppid), different = 0;
    double start = test_seconds();
    for (unsigned i = 0; i < rounds; i++)
        different += syscall(SYS_getppid) != parent;
    double seconds = test_seconds() - start;
    test_check("getppid.same", 0, (uint64_t)different);
    printf("getppid: %u calls, %.3f us each\n", rounds, seconds / rounds * 1e6);
    return test_result();
}
