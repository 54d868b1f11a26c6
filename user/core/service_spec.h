/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service's affinity, limits, stale policy and damping: the words for their kinds, and their
 * numbers as one list, so that columns, documents, files and checks say the same. Pure.
 */
#pragma once

#include "types.h"

const char *gs_affine_name(enum gs_affine affine);  /* flow client prefix */
const char *gs_stale_name(enum gs_stale_kind kind); /* keep pass drop */
/* -EINVAL */
int gs_affine_parse(const char *text, enum gs_affine *ret_affine);
int gs_stale_parse(const char *text, enum gs_stale_kind *ret_kind);

enum { GS_SERVICE_NUMBERS = 14 };

struct gs_service_number {
	const char *name;   /* of the column and field: "limit_client_flows" */
	const char *group;  /* where a document has it: "limits" */
	const char *member; /* "client_flows" */
	uint32_t min, max, otherwise;
};

/* index < GS_SERVICE_NUMBERS, here and below; in the order of `name`'s columns. */
const struct gs_service_number *gs_service_number(uint32_t index);
uint32_t gs_service_number_get(const struct gs_service *service, uint32_t index);
/* A value too large for its member is cut: check it first. */
void gs_service_number_set(struct gs_service *service, uint32_t index, uint32_t value);
/* In its range; or 0 where the service's kinds and limits do not use it. */
bool gs_service_number_is_valid(const struct gs_service *service, uint32_t index);

/* Each flow for itself, no limit, stale tables kept, panic below 50 %, and then anything serves;
 * what flaps is damped. */
void gs_service_spec_default(struct gs_service *service);

/*
 * Whose new flows meet one backend with the client's, as far as affinity is by address: the
 * client's own (affinity client), its prefix (prefix). False: affinity is by flow.
 */
bool gs_affinity_prefix(const struct gs_service *service, const struct gs_addr *client,
			struct gs_prefix *ret_prefix);

enum { GS_LIMIT_MAX = 1000000000 };
