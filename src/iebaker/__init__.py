"""iEBAKER: eliminate before align, keyword explicit reasoning and sort after reversed retrieval."""

__version__ = "0.1.0"
