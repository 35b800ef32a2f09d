"""JSON as Go's encoding/json reads it, with its error texts.

`scanner` finds the first syntax error, `decode` converts values to Go types; `api.body` uses both only when the fast
typed decoder has refused a body.
"""
