"""Write clips into shards, and read single clips from them, in a folder or at a URL."""
