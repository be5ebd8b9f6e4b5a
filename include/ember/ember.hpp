#pragma once

// The whole public face of ember, except <ember/tbb.hpp>.

#include <ember/audit.hpp>        // IWYU pragma: export
#include <ember/causes.hpp>       // IWYU pragma: export
#include <ember/checkpoints.hpp>  // IWYU pragma: export
#include <ember/compare.hpp>      // IWYU pragma: export
#include <ember/error.hpp>        // IWYU pragma: export
#include <ember/explain.hpp>      // IWYU pragma: export
#include <ember/file.hpp>         // IWYU pragma: export
#include <ember/gradients.hpp>    // IWYU pragma: export
#include <ember/labels.hpp>       // IWYU pragma: export
#include <ember/model.hpp>        // IWYU pragma: export
#include <ember/npy.hpp>          // IWYU pragma: export
#include <ember/report.hpp>       // IWYU pragma: export
#include <ember/samples.hpp>      // IWYU pragma: export
#include <ember/session.hpp>      // IWYU pragma: export
#include <ember/statistics.hpp>   // IWYU pragma: export
#include <ember/surgery.hpp>      // IWYU pragma: export
#include <ember/tensor.hpp>       // IWYU pragma: export
