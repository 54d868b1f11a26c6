// SPDX-License-Identifier: Apache-2.0
/*
 * A data race on purpose, for 10-sanitizer.sh: two threads add to one variable, and nothing orders
 * them. With the argument "ordered" a lock does, and there is nothing to report.
 */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { ROUNDS = 10000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long shared;

static void *add(void *context)
{
	const bool *is_ordered = context;

	for (int i = 0; i < ROUNDS; i++) {
		if (*is_ordered)
			pthread_mutex_lock(&lock);
		shared++;
		if (*is_ordered)
			pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	bool is_ordered = argc > 1 && strcmp(argv[1], "ordered") == 0;
	pthread_t other;

	if (pthread_create(&other, NULL, add, &is_ordered))
		return 1;
	add(&is_ordered);
	return pthread_join(other, NULL) ? 1 : 0;
}
