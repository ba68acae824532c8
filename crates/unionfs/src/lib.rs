//! Snapshots of stacked layers: apply a layer, mount a stack, diff it back to a layer.
