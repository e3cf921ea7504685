//! Private namespaces with a table filled as in the story; the only user of flow creation.
