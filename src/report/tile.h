/* SPDX-License-Identifier: Apache-2.0 */
/* A view of a pyramid as bytes for the page: docs/page.md has the format. Values keep the record's
 * own 16-bit logarithms, so a tile is as exact as the log. */
#ifndef BP_REPORT_TILE_H
#define BP_REPORT_TILE_H

#include "runlog/pyramid.h"

/* Little endian:
 *   0 "BPT1"
 *   4 u32 codec: 0 log16 codes (u16 a value), 1 f64
 *   8 u32 n_rows        12 u32 n_columns
 *  16 i64 last step of the series in the log, -1 none
 *  24 i32 first octave (histograms: row r is 2^(first + r) <= |x| < 2^(first + r + 1)), else 0
 *  28 u32 0
 *  32 f64 starts[n_columns + 1]: column c holds steps starts[c] ... starts[c + 1] - 1
 *     mean[n_rows][n_columns], min, max likewise
 *     u8 flags[n_rows][n_columns]: BP_VIEW_HAS_NAN | BP_VIEW_HAS_INF
 *     each of these four padded with zeros to a multiple of 8 bytes
 * Not measured: code BP_CODE_ABSENT, or f64 with the bits BP_BITS_ABSENT. Where there were only
 * NaN or infinite values mean, min and max are NaN. *bytes is released with free(). */
/* Of a pyramid: steps first ... last as bp_pyramid_view has them, at once, without the view. */
BP_MUST_USE bp_status bp_tile_draw(uint8_t **bytes, size_t *n_bytes, bp_pyramid *pyramid,
                                   int64_t first, int64_t last, uint32_t n_columns,
                                   bp_error *error);
/* Of a view. */
BP_MUST_USE bp_status bp_tile_encode(uint8_t **bytes, size_t *n_bytes, const bp_view *view,
                                     bool log16, int64_t last_step, int32_t first_octave,
                                     bp_error *error);

#endif
