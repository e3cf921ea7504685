//! What the operator wants: format, mistakes with spans, inheritance, derived values. Pure.
