// The clock that all waits are measured by: monotonic, in ms, and blind to a wall clock that somebody sets.

export const now = () => performance.now();
