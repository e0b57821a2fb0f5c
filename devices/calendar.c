/* Calendar arithmetic: see calendar.h.
 *
 * Years are counted from March, so that the leap day is a year's last day and the lengths of
 * the months before it follow one straight line: month m (0: March) begins at day
 * (153 * m + 2) / 5. */
#include "devices/calendar.h"

#include <assert.h>

#define DAY_SECONDS 86400
#define ERA_YEARS 400
#define ERA_DAYS 146097            /* days in 400 years */
#define EPOCH_DAYS INT64_C(719468) /* from 1 March of year 0 to 1 January 1970 */

static int64_t floor_div(int64_t a, int64_t b) {
    assert(b > 0);
    return a / b - (a % b < 0);
}

int64_t calendar_to_seconds(const struct calendar *c) {
    int64_t months = (int64_t)c->year * 12 + (int64_t)c->month - 1 - 2; /* from March of year 0 */
    int64_t year = floor_div(months, 12), month = months - year * 12;
    int64_t days = year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) +
                   (153 * month + 2) / 5 + (int64_t)c->day - 1 - EPOCH_DAYS;
    return days * DAY_SECONDS + (int64_t)c->hour * 3600 + (int64_t)c->minute * 60 +
           (int64_t)c->second;
}

struct calendar calendar_from_seconds(int64_t seconds) {
    int64_t days = floor_div(seconds, DAY_SECONDS);
    uint32_t in_day = (uint32_t)(seconds - days * DAY_SECONDS);
    uint32_t weekday = (uint32_t)(days + 4 - floor_div(days + 4, 7) * 7); /* 1970: a Thursday */

    int64_t shifted = days + EPOCH_DAYS;
    int64_t era = floor_div(shifted, ERA_DAYS);
    uint32_t day = (uint32_t)(shifted - era * ERA_DAYS);
    /* Leap days before `day` are taken out, so that every year has 365. */
    uint32_t year = (day - day / 1460 + day / 36524 - day / (ERA_DAYS - 1)) / 365;
    uint32_t in_year = day - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * in_year + 2) / 153;
    assert(year < ERA_YEARS && month < 12);
    return (struct calendar){
        .year = (int32_t)(era * ERA_YEARS + year + (month >= 10)),
        .month = month < 10 ? month + 3 : month - 9,
        .day = in_year - (153 * month + 2) / 5 + 1,
        .hour = in_day / 3600,
        .minute = in_day / 60 % 60,
        .second = in_day % 60,
        .weekday = weekday,
    };
}
