/* SPDX-License-Identifier: Apache-2.0 */
/* Findings for people, a line each, or for programs. */
#pragma once

#include "loader/doctor.h"

#include <stdio.h>

void gs_doctor_print(const struct gs_findings *findings, FILE *out);
/* One JSON object and a newline. -ENOMEM. */
int gs_doctor_print_json(const struct gs_doctor_facts *facts, const struct gs_findings *findings,
			 FILE *out);
