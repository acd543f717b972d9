"""Tools of other servers over the Model Context Protocol: whatever such a server says is hostile until parsed."""
