// SPDX-License-Identifier: Apache-2.0
#include "moment.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { DAY_S = 86400 };

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_of_month(int year, int month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to the first of January. */
static int64_t days_to_year(int year)
{
	int before = year - 1;

	return (int64_t)(year - 1970) * 365 + (before / 4 - before / 100 + before / 400) -
	       (1969 / 4 - 1969 / 100 + 1969 / 400);
}

/* `count` digits; negative: they are not all there. */
static int take_digits(const char **at, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return -EINVAL;
		value = value * 10 + (**at - '0');
	}
	return value;
}

static bool take(const char **at, char wanted)
{
	if (**at != wanted)
		return false;
	(*at)++;
	return true;
}

/* Milliseconds; what is finer is cut off. Negative: a point without digits. */
static int take_fraction(const char **at)
{
	int value = 0, digits = 0;

	if (!take(at, '.'))
		return 0;
	for (; **at >= '0' && **at <= '9'; (*at)++, digits++)
		if (digits < 3)
			value = value * 10 + (**at - '0');
	for (int i = digits; i < 3; i++)
		value *= 10;
	return digits == 0 ? -EINVAL : value;
}

/* Seconds east of Greenwich. */
static int take_zone(const char **at, int *ret_s)
{
	int sign = **at == '-' ? -1 : 1, hours, minutes;

	*ret_s = 0;
	if (take(at, 'Z'))
		return 0;
	if (!take(at, '+') && !take(at, '-'))
		return -EINVAL;
	hours = take_digits(at, 2);
	if (hours < 0 || hours > 23 || !take(at, ':'))
		return -EINVAL;
	minutes = take_digits(at, 2);
	if (minutes < 0 || minutes > 59)
		return -EINVAL;
	*ret_s = sign * (hours * 3600 + minutes * 60);
	return 0;
}

static int take_day(const char **at, int64_t *ret_days)
{
	int year = take_digits(at, 4), month, day;

	if (year < 1 || !take(at, '-'))
		return -EINVAL;
	month = take_digits(at, 2);
	if (month < 1 || month > 12 || !take(at, '-'))
		return -EINVAL;
	day = take_digits(at, 2);
	if (day < 1 || day > days_of_month(year, month))
		return -EINVAL;
	*ret_days = days_to_year(year) + day - 1;
	for (int m = 1; m < month; m++)
		*ret_days += days_of_month(year, m);
	return 0;
}

int gs_moment_parse(const char *text, int64_t *ret_unix_ms)
{
	const char *at = text;
	int hour, minute, second, fraction, zone_s, clock_s;
	int64_t days, unix_ms;

	if (take_day(&at, &days) != 0 || !take(&at, 'T'))
		return -EINVAL;
	hour = take_digits(&at, 2);
	if (hour < 0 || hour > 23 || !take(&at, ':'))
		return -EINVAL;
	minute = take_digits(&at, 2);
	if (minute < 0 || minute > 59 || !take(&at, ':'))
		return -EINVAL;
	second = take_digits(&at, 2);
	if (second < 0 || second > 59)
		return -EINVAL;
	fraction = take_fraction(&at);
	if (fraction < 0 || take_zone(&at, &zone_s) != 0 || *at)
		return -EINVAL;
	clock_s = hour * 3600 + minute * 60 + second;
	unix_ms = (days * DAY_S + clock_s - zone_s) * 1000 + fraction;
	if (unix_ms < 1 || unix_ms > GS_MOMENT_MAX_MS)
		return -EINVAL;
	*ret_unix_ms = unix_ms;
	return 0;
}

const char *gs_moment_format(int64_t unix_ms, char out[GS_MOMENT_TEXT_MAX])
{
	int64_t days = unix_ms / 1000 / DAY_S;
	int rest_s = (int)(unix_ms / 1000 % DAY_S), ms = (int)(unix_ms % 1000);
	int year, month = 1, length;

	out[0] = '\0';
	if (unix_ms < 1 || unix_ms > GS_MOMENT_MAX_MS)
		return out;
	year = 1970 + (int)(days / 366);
	while (days_to_year(year + 1) <= days)
		year++;
	days -= days_to_year(year);
	for (; days >= days_of_month(year, month); month++)
		days -= days_of_month(year, month);
	length = snprintf(out, GS_MOMENT_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", year, month,
			  (int)days + 1, rest_s / 3600, rest_s / 60 % 60, rest_s % 60);
	if (ms > 0)
		length += snprintf(out + length, GS_MOMENT_TEXT_MAX - (size_t)length, ".%03d", ms);
	snprintf(out + length, GS_MOMENT_TEXT_MAX - (size_t)length, "Z");
	return out;
}
