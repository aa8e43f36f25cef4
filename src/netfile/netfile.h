/* SPDX-License-Identifier: Apache-2.0 */
/* Room netfile: the network file (NET.yaml): parsed with source spans, checked, edited as text so
 * that comments survive. Syntax by libyaml, meaning by one schema table. Knows neither data nor
 * trainer: it yields a model and the name of a data set. Called by cli. */
#ifndef BP_NETFILE_NETFILE_H
#define BP_NETFILE_NETFILE_H

#include "base/base.h"
#include "model/model.h"
#include <backprobe/netfile.h>

#endif
