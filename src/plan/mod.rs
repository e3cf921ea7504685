//! The difference and the way there: steps, their order, their undo. Pure.
