"""The worker program: claims tasks, performs them, settles them."""
