//! Acting: the engine that carries a plan out, reads it back and undoes it; the lock.
