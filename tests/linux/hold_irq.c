/* hold_irq COMMAND...: runs the command while the kernel has a handler for IRQ 5, which no chip of the
 * machine drives: that of a serial port that is not there (/dev/ttyS3, told to be a 16550A and not to be
 * looked for). Says how many interrupts came. Without a command there is nothing to do. */
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT "/dev/ttyS3"
#define IRQ 5
#define TYPE_16550A 4

static int hold(void) {
    struct serial_struct port;
    int fd = open(PORT, O_RDWR | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || ioctl(fd, TIOCGSERIAL, &port))
        return -1;
    port.type = TYPE_16550A;
    port.port = 0x2e8;
    port.irq = IRQ;
    port.flags |= (int)(ASYNC_SKIP_TEST | ASYNC_BUGGY_UART);
    if (ioctl(fd, TIOCSSERIAL, &port))
        return -1;
    close(fd); /* the handler comes when it is opened as what it is now */
    return open(PORT, O_RDWR | O_NONBLOCK | O_NOCTTY);
}

static long interrupts(void) {
    char line[256];
    long count = -1;
    FILE *file = fopen("/proc/interrupts", "r");
    while (file && fgets(line, sizeof line, file))
        if (atoi(line) == IRQ && strchr(line, ':'))
            count = atol(strchr(line, ':') + 1);
    if (file)
        fclose(file);
    return count;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        puts("hold_irq: no command");
        return 0;
    }
    if (hold() < 0) {
        perror("FAIL hold_irq: " PORT);
        return 1;
    }
    long before = interrupts();
    pid_t child = fork();
    if (!child) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    long after = interrupts();
    printf("hold_irq: %ld interrupts\n", after - before);
    return before < 0 || !WIFEXITED(status) ? 1 : WEXITSTATUS(status);
}
