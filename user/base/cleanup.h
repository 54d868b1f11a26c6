/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership one can read in one function: cleanup attributes and take macros. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define GS_CLEANUP(function) __attribute__((cleanup(function)))

static inline void gs_free_ptr(void *ptr)
{
	free(*(void **)ptr);
}

static inline void gs_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void gs_fclose_ptr(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define GS_AUTO_FREE GS_CLEANUP(gs_free_ptr)
#define GS_AUTO_CLOSE GS_CLEANUP(gs_close_fd)
#define GS_AUTO_FCLOSE GS_CLEANUP(gs_fclose_ptr)

/* Hand an owned thing on: the local no longer owns it. */
#define gs_take_ptr(ptr)                    \
	({                                  \
		__auto_type taken_ = (ptr); \
		(ptr) = NULL;               \
		taken_;                     \
	})
#define gs_take_fd(fd)             \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})
