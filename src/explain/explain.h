/* SPDX-License-Identifier: MIT
 * The door of the room that looks at weights. */
#ifndef ATTN__EXPLAIN_H
#define ATTN__EXPLAIN_H

#include "attn/explain.h"
#include "engine/engine.h"

#endif
