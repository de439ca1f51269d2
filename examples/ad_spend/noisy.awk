# Writes ad_spend_noisy.csv: awk -f noisy.awk > ad_spend_noisy.csv
# Uniform numbers from Park and Miller's generator (1988), whose products are exact in double precision.
function uniform() {
  state = (16807 * state) % 2147483647
  return state / 2147483647
}
# Irwin and Hall's sum of twelve: mean 0, standard deviation 1, nearly normal.
function noise(    sum, i) {
  for (i = 0; i < 12; i++) sum += uniform()
  return sum - 6
}
BEGIN {
  state = 12345
  print "social_media,google,conversions"
  for (row = 0; row < 200; row++) {
    social_media = int(1000 * uniform()) / 100
    google = int(1000 * uniform()) / 100
    printf "%.2f,%.2f,%.4f\n", social_media, google, 1.25 * social_media + 1.5 * google + 0.5 * noise()
  }
}
