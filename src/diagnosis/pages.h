/* SPDX-License-Identifier: Apache-2.0 */
/* The explain pages that stand in files of their own, a file a family of problems; problem.c's
 * table names them. */
#ifndef BP_DIAGNOSIS_PAGES_H
#define BP_DIAGNOSIS_PAGES_H

extern const char bp_page_clip_to_zero[];
extern const char bp_page_dead_units[];
extern const char bp_page_saturated_units[];
extern const char bp_page_symmetric_units[];
extern const char bp_page_constant_init[];
extern const char bp_page_zero_init[];
extern const char bp_page_learning_rate_too_high[];
extern const char bp_page_learning_rate_too_low[];
extern const char bp_page_stalled_update[];
extern const char bp_page_oscillating_loss[];
extern const char bp_page_loss_spike[];
extern const char bp_page_plateau[];
extern const char bp_page_slow_convergence[];
extern const char bp_page_constant_output[];
extern const char bp_page_overfitting[];
extern const char bp_page_overconfident[];
extern const char bp_page_memorising[];
extern const char bp_page_underfitting[];
extern const char bp_page_input_not_normalised[];
extern const char bp_page_labels_out_of_range[];
extern const char bp_page_wrong_last_layer[];
extern const char bp_page_frozen_parameter[];
extern const char bp_page_unused_parameter[];
extern const char bp_page_low_precision_underflow[];
extern const char bp_page_low_precision_overflow[];
extern const char bp_page_update_imbalance[];

#endif
