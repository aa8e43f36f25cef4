/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe demo lesson`: a lecture on vanishing and exploding gradients and overfitting, each
 * number of which is computed while it is told, by the same trainer, watch and diagnosis as
 * everything else. A page is a function; lesson.c turns them. */
#ifndef BP_CLI_LESSON_H
#define BP_CLI_LESSON_H

#include "cli/option.h"
#include "report/report.h"

/* Prints one page; network and data of its own. */
typedef bp_status bp_lesson_page(bp_page *page, bp_error *error);

/* lesson_chain.c: the chain rule on chains of single units. */
bp_lesson_page bp_lesson_factors, bp_lesson_update, bp_lesson_overflow;
/* lesson_nets.c: real networks on the digits. */
bp_lesson_page bp_lesson_scales, bp_lesson_overfitting;
/* lesson_table.c: the lecture's table, filled for two runs. */
bp_lesson_page bp_lesson_table;

/* All pages, or one (1 ...); gives the exit code. */
int bp_lesson(const bp_common_options *common, bool pause, int64_t only);
#define BP_LESSON_PAGES 6

/* A line of text, wrapped; and one of blanks. */
void bp_lesson_say(bp_page *page, const char *format, ...) BP_PRINTF(2, 3);
void bp_lesson_space(bp_page *page);
/* A bar of `part` (0 ... 1) of `columns`, filled with blanks. */
void bp_lesson_bar(bp_page *page, bp_ink ink, int columns, double part);

#endif
