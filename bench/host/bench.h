/* `ring3 bench`: the same work natively, in ring3, and in QEMU, side by side. */
#ifndef RING3_BENCH_HOST_BENCH_H
#define RING3_BENCH_HOST_BENCH_H

/* argv[0] is the word "bench". Returns the process's exit status: 0; 1 something failed on the way
 * (a line says what); 2 bad usage. */
int bench_main(int argc, char **argv);

#endif
