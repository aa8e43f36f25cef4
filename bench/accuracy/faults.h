/* SPDX-License-Identifier: Apache-2.0 */
/* What a network file cannot say: faults put into data and into a running training. */
#ifndef BENCH_ACCURACY_FAULTS_H
#define BENCH_ACCURACY_FAULTS_H

#include <backprobe/train.h>
#include <stdbool.h>

/* name[:number]*; layers are ids from 1. Data:
 *   inputs:FACTOR:OFFSET    all inputs of all parts
 *   feature:INDEX:FACTOR    one input of all samples
 *   nan:SAMPLE              a number of this training sample is NaN
 *   targets:FACTOR:OFFSET   regression
 *   permuted:               training classes at random, of the same frequencies
 *   noise:SHARE             so many training classes at random
 *   autoencode:             targets are the inputs
 *   validation:N            only so many samples validate
 * Training, before step STEP (weights of layers FROM to TO):
 *   scale:FROM:TO:FACTOR:STEP, weights:FROM:TO:VALUE:STEP, biases:FROM:TO:VALUE:STEP,
 *   same:FROM:TO:STEP       all units get the first one's weights
 *   rate:FACTOR:STEP:END    the learning rate, until before END
 *   poison:FACTOR:STEP      the inputs of this one batch */
typedef struct bench_fault {
    char name[16];
    double number[4];
    int n;
} bench_fault;

bool fault_read(bench_fault *fault, const char *text);
/* Replaces *dataset, whose numbers are changed. false: out of memory or not for these data. */
bool fault_data(const bench_fault *fault, bp_dataset **dataset, uint64_t seed);
/* Before each step. Weights change by the trainer's own memory. */
void fault_step(const bench_fault *fault, bp_trainer *trainer, bp_dataset *dataset);

#endif
