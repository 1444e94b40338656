"""A model of the MI300X (gfx942): matrix instructions, tiles, workgroups over its dies. Computed, never timed on one."""
