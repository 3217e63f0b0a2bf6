"""Defines the networks and losses in torch: towers, contrastive learning, decoder, captioner."""
