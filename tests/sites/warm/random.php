<?php
echo implode(' ', [mt_rand(1e6, 2e9), random_int(1e6, 2e9), uniqid(), lcg_value(), bin2hex(random_bytes(8))]);
