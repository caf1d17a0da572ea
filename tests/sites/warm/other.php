<?php echo 'other';
