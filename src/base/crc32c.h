/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of bp_crc32c; for this room and its tests only. */
#ifndef BP_BASE_CRC32C_H
#define BP_BASE_CRC32C_H

#include "base/base.h"

/* The definition: a table, one byte at a time. */
uint32_t bp_crc32c_by_table(uint32_t crc, const void *bytes, size_t n_bytes);

/* By the CPU's own instructions. NULL where it has none. */
typedef uint32_t (*bp_crc32c_form)(uint32_t crc, const void *bytes, size_t n_bytes);
bp_crc32c_form bp_crc32c_of_cpu(void);

#endif
