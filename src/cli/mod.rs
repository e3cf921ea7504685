//! What the operator types: one short file a command, the one writer, the prompts.
