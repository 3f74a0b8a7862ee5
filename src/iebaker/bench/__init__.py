"""Speed and memory: ours, the published formulation, and what cannot be beaten, side by side (docs/speed.md)."""
