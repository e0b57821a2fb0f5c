/* Offsets of struct state in native_io, for the assembly. native_side.c asserts them. */
#ifndef RING3_TESTS_DIFF_NATIVE_IO_H
#define RING3_TESTS_DIFF_NATIVE_IO_H

#define IO_GPR 0
#define IO_EIP 32
#define IO_EFLAGS 36
#define IO_SEG 40
#define IO_VECTOR 64
#define IO_HOST_RSP 896

#endif
