/* The bare guest of the nanobenchmarks (bench/guest), as bytes of the program. */
#ifndef RING3_BENCH_HOST_NANO_IMAGE_H
#define RING3_BENCH_HOST_NANO_IMAGE_H

extern const unsigned char ring3_nano_guest[], ring3_nano_guest_end[];

#endif
