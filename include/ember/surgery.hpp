#pragma once

// Everything that changes a network.

#include <ember/prune.hpp>         // IWYU pragma: export
#include <ember/revive.hpp>        // IWYU pragma: export
#include <ember/swap.hpp>          // IWYU pragma: export
#include <ember/verification.hpp>  // IWYU pragma: export
