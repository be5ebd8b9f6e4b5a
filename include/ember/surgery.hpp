#pragma once

// Everything that changes a network.

#include <ember/verification.hpp>  // IWYU pragma: export
