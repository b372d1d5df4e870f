j
location/etc/passwd