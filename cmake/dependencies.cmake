# Every library comes from a Debian package (packaging/apt-packages.txt); nothing is vendored or downloaded.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tl-expected REQUIRED)

pkg_check_modules(gnutls REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(ngtcp2 REQUIRED IMPORTED_TARGET libngtcp2>=1.11 libngtcp2_crypto_gnutls>=1.11)
pkg_check_modules(netlink REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0)
pkg_check_modules(capng REQUIRED IMPORTED_TARGET libcap-ng)
pkg_check_modules(systemd REQUIRED IMPORTED_TARGET libsystemd)

pkg_check_modules(miniupnpc REQUIRED IMPORTED_TARGET miniupnpc)
find_library(NATPMP natpmp REQUIRED)  # it has no .pc file

# prometheus-cpp's CMake config drags in the exposer and curl; only the core is wanted.
find_library(PROMETHEUS_CORE prometheus-cpp-core REQUIRED)
add_library(ztna_prometheus INTERFACE)
target_link_libraries(ztna_prometheus INTERFACE ${PROMETHEUS_CORE})
