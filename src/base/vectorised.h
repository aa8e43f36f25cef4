/* SPDX-License-Identifier: Apache-2.0 */
/* Hot loops at the width of the CPU that runs them, from a library that is built for any x86-64. */
#ifndef BP_BASE_VECTORISED_H
#define BP_BASE_VECTORISED_H

#include <stdint.h> /* so that __GLIBC__ is known */

/* Before a function whose loops over arrays are worth it: it is compiled once a level, and the
 * loader picks. The compiler neither contracts (-ffp-contract=off) nor reorders sums, so that all
 * levels give the same bits. The loader of musl does not know how to pick. -DBP_VECTORISED= leaves
 * it out. */
#ifndef BP_VECTORISED
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define BP_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#endif
#ifndef BP_VECTORISED
#define BP_VECTORISED
#endif

#endif
