"""Word2Vec, contrastive pre-training, captioner training and export."""
