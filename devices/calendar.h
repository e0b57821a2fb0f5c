/* Seconds since 1970 and the proleptic Gregorian calendar, both ways, for any input. */
#ifndef RING3_DEVICES_CALENDAR_H
#define RING3_DEVICES_CALENDAR_H

#include <stdint.h>

struct calendar {
    int32_t year;
    uint32_t month, day; /* from 1 */
    uint32_t hour, minute, second;
    uint32_t weekday; /* 0: Sunday; ignored as input */
};

struct calendar calendar_from_seconds(int64_t seconds);
/* Fields out of range carry over (a month 13 is the next year's first). */
int64_t calendar_to_seconds(const struct calendar *c);

#endif
