"""A model that can only be asked: the service, the client, the session and its transcript.

Where weights are withheld, what is served is all there is to audit; where they are not, it is the
only evidence that what was audited is what is served. An endpoint is the owner's: it may be slow,
broken or lying, and knows no more of a query than its input.
"""
