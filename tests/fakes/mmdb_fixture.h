/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GeoIP files to test with: records from a short notation, files in a folder of the test's own.
 * All of it ends the test (cmocka's fail) when it cannot do what it is asked.
 */
#pragma once

#include "user/core/asn.h"
#include "user/core/geodata.h"
#include "user/geoip/mmdb_writer.h"

/* A folder that is there until mmdb_fixture_remove; path: of a file in it. */
void mmdb_fixture_make(void);
void mmdb_fixture_remove(void);
const char *mmdb_fixture_path(void);

/*
 * One value from JSON text with C's single quotes for double ones: {'country':{'iso_code':'DE'}}.
 * Numbers with a point are doubles, or floats with an 'f' behind them ("1.5f"), others uint32
 * ("7") or int32 ("-7"). Returns its offset.
 */
uint32_t mmdb_fixture_record(struct gs_mmdb_writer *writer, const char *text);
/* "192.0.2.0/24" or "2001:db8::/32" has the record. */
void mmdb_fixture_insert(struct gs_mmdb_writer *writer, const char *prefix, uint32_t record);
void mmdb_fixture_alias(struct gs_mmdb_writer *writer, const char *prefix);
/* The file's bytes; frees the writer. */
struct gs_mmdb_buffer mmdb_fixture_bytes(struct gs_mmdb_writer *writer);
/* Writes the fixture's file. */
void mmdb_fixture_write(const struct gs_mmdb_buffer *bytes);

/* Loads the fixture's file: 0 and the data, or the error. */
int mmdb_fixture_load(struct gs_geodata **ret_geo, struct gs_error *error);
void mmdb_fixture_release(struct gs_geodata *geo);
/* bytes to file to data; frees the bytes; must succeed. */
struct gs_geodata *mmdb_fixture_good(struct gs_mmdb_buffer *bytes);
/* The same of an ASN database. */
int mmdb_fixture_load_asn(struct gs_asndata **ret_asn, struct gs_error *error);
void mmdb_fixture_release_asn(struct gs_asndata *asn);
struct gs_asndata *mmdb_fixture_good_asn(struct gs_mmdb_buffer *bytes);
/* The location of an address in text. */
const struct gs_location *mmdb_fixture_find(const struct gs_geodata *geo, const char *address);
