//===- Package.cpp - writes the files of a library ------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Package/Package.h"
#include "AtomicFile.h"
#include "Link.h"
#include "llvm/Support/Path.h"

using namespace sparse_attn;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

static std::string join(StringRef directory, const llvm::Twine &name) {
  llvm::SmallString<128> path(directory);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

static Error writeText(AtomicFile &file, StringRef text) {
  return file.write([&](llvm::raw_ostream &stream) {
    stream << text;
    return Error::success();
  });
}

static std::vector<const ObjectFile *> listObjects(const CompiledLibrary &library,
                                                   const ObjectFile &descriptor) {
  std::vector<const ObjectFile *> objects{&descriptor};
  for (const ObjectFile &object : library.objects)
    objects.push_back(&object);
  return objects;
}

static Error makeDirectory(StringRef directory) {
  std::error_code code = llvm::sys::fs::create_directories(
      directory, /*IgnoreExisting=*/true, llvm::sys::fs::perms::all_all);
  if (!code && !llvm::sys::fs::is_directory(directory))
    code = std::make_error_code(std::errc::not_a_directory);
  if (!code)
    return Error::success();
  return llvm::createStringError(code, "cannot make the folder '" + directory +
                                           "': " + code.message());
}

/// Fills the four files, which have no name yet.
static Error fill(const CompiledLibrary &library, const PackageOptions &options,
                  AtomicFile &header, AtomicFile &manifest, AtomicFile &archive,
                  AtomicFile &sharedLibrary) {
  std::string manifestText = buildManifest(library);
  Expected<ObjectFile> descriptor = buildDescriptor(library, manifestText, false);
  if (!descriptor)
    return descriptor.takeError();
  Expected<ObjectFile> sharedDescriptor = buildDescriptor(library, manifestText, true);
  if (!sharedDescriptor)
    return sharedDescriptor.takeError();
  if (Error error = writeText(header, buildHeader(library)))
    return error;
  if (Error error = writeText(manifest, manifestText))
    return error;
  if (Error error = archive.write([&](llvm::raw_ostream &stream) {
        return writeArchive(listObjects(library, *descriptor), options.runtimeArchive,
                            stream);
      }))
    return error;
  return linkShared(library, listObjects(library, *sharedDescriptor), options,
                    sharedLibrary.getTemporaryPath());
}

Expected<PackagedFiles> sparse_attn::packageLibrary(const CompiledLibrary &library,
                                                    const PackageOptions &options) {
  if (Error error = checkLibrary(library))
    return error;
  if (Error error = makeDirectory(options.directory))
    return error;
  PackagedFiles paths;
  paths.header = join(options.directory, library.name + ".h");
  paths.manifest = join(options.directory, library.name + ".json");
  paths.archive = join(options.directory, "lib" + library.name + ".a");
  paths.sharedLibrary = join(options.directory, "lib" + library.name + ".so");

  std::vector<AtomicFile> files;
  for (const std::string &path :
       {paths.header, paths.manifest, paths.archive, paths.sharedLibrary}) {
    Expected<AtomicFile> file = AtomicFile::create(path);
    if (!file)
      return file.takeError();
    files.push_back(std::move(*file));
  }
  if (Error error = fill(library, options, files[0], files[1], files[2], files[3]))
    return error;
  for (AtomicFile &file : files)
    if (Error error = file.commit())
      return error;
  return paths;
}
