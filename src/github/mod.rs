//! GitHub: the runner's contract, deployments.
