# After `hyper-sync rebuild --boot-first` made the new system the boot default: activate it at once where the kernel, its
# modules and the initial ram disk are those that were booted, else reboot into it, inside the window if there is one.
# Outside of the window the next run tries again. While updates are suspended, nothing is done.
#
# modules/reboot.nix sets: hyper_sync, the program; action, what is done at last (`switch` or `boot`); lower and upper,
# the window as HHMM, both empty without one; booted and built, the two systems.
set -eu

# Also where that cannot be found out.
"$hyper_sync" suspend --check || exit 0

# A system may lack one of them.
parts() {
  for part in initrd kernel kernel-modules; do
    readlink "$1/$part" || echo "no $part"
  done
}

if [ "$(parts "$booted")" = "$(parts "$built")" ]; then
  if [ "$action" = switch ]; then
    exec "$hyper_sync" rebuild --if-pending --rebuild-action switch
  fi
  exit 0
fi

inside=yes
if [ -n "$lower" ]; then
  now=$(date +%H%M)
  # A window may cross midnight: then its lower end is the later time of day.
  if [ "$lower" -lt "$upper" ]; then
    [ "$now" -ge "$lower" ] && [ "$now" -lt "$upper" ] || inside=no
  else
    [ "$now" -ge "$lower" ] || [ "$now" -lt "$upper" ] || inside=no
  fi
fi
if [ "$inside" = no ]; then
  echo "a reboot is needed; it waits for its window, from $lower to $upper"
  exit 0
fi
exec shutdown -r +1 "the system was updated and needs a reboot"
