"""The iEBAKER training objective (method: Objective).

    CE(s S[m_g]) + CE(s S^T[m_g]) + CE(L[m_l]) + CE(L^T[m_l]) + w CE_keywords

S is the global, L the local similarity of a batch, m_g and m_l say which pairs stay as anchors (eba.py), s is the
exponential of the fixed logit scale.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(logits: Tensor, keep: Tensor, positives: Tensor | None = None) -> Tensor:
    """Cross-entropy in both directions over the anchors that are kept: CE(Z[m]) + CE(Z^T[m]).

    A dropped pair loses its row in both directions; its column remains, so it is still a negative of the others.

    Args:
        logits: (B, B) scaled similarities, texts x images, own pairs on the diagonal.
        keep: (B,) bool, True for anchors that stay, at least one.
        positives: (B, B) bool, symmetric, True on the diagonal: an anchor's target is spread evenly over them (UniCL,
            Yang et al., CVPR 2022). None: each anchor's own pair alone, as published, so that a repeated caption is
            a negative of its copies.

    Returns:
        Scalar float32: the sum of the two directions, each a mean over the anchors kept.
    """
    logits = logits.float()
    anchors = torch.arange(len(logits), device=logits.device)[keep]
    if positives is None:
        targets = anchors
    else:
        targets = positives[anchors].float()
        targets = targets / targets.sum(1, keepdim=True)
    return F.cross_entropy(logits[anchors], targets) + F.cross_entropy(logits.T[anchors], targets)


def retrieval_loss(
    global_similarity: Tensor,
    local_similarity: Tensor | None,
    keep_global: Tensor,
    keep_local: Tensor,
    scale: float,
    local_weight: float = 1.0,
    positives: Tensor | None = None,
) -> Tensor:
    """Global plus local contrastive loss.

    Args:
        global_similarity: (B, B) cosines S, texts x images, not scaled.
        local_similarity: (B, B) local similarities L, already scaled by `scale`; None switches the local loss off.
        keep_global: (B,) bool, anchors of the global loss.
        keep_local: (B,) bool, anchors of the local loss.
        scale: s, the exponential of the logit scale.
        local_weight: of the local loss; published: 1.
        positives: of both losses, as `contrastive_loss` takes them.
    """
    loss = contrastive_loss(scale * global_similarity.float(), keep_global, positives)
    if local_similarity is not None:
        loss = loss + local_weight * contrastive_loss(local_similarity, keep_local, positives)
    return loss


def keyword_loss(scores: Tensor, classes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the masked keywords, CE_keywords (method: KER 3).

    Args:
        scores: (n, V) logits at the n masked positions of the batch.
        classes: (n,) int64 class of the keyword token behind each mask.
        weights: (n,) how many positions each stands for; None: one.

    Returns:
        Scalar float32: the mean over the masked positions; 0, with gradient 0, when nothing is masked.
    """
    if len(classes) == 0:
        return scores.float().sum()
    if weights is None:
        return F.cross_entropy(scores.float(), classes)
    return (weights * F.cross_entropy(scores.float(), classes, reduction="none")).sum() / weights.sum()
