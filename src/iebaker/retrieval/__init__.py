"""From a trained model to metrics: similarity matrices, fusion, re-ranking (SAR), evaluation."""
