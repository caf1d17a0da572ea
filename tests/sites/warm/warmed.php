<?php echo 'warmed';
